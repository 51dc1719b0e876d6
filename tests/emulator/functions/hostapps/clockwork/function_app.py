"""One timer whose schedule is a setting; it notes its runs, waits or fails as told."""

import threading

import azure.functions as func

app = func.FunctionApp()
runs: list[tuple[bool, dict]] = []
go_on = threading.Event()
go_on.set()
fails = False


@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
def tick(timer: func.TimerRequest) -> None:
    """Note the run."""
    runs.append((timer.past_due, timer.schedule_status))
    if not go_on.wait(10):
        raise TimeoutError("nobody let the timer go on")
    if fails:
        raise ValueError("a bad tick")
