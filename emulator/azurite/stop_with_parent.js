// Loaded by node before Azurite: ends it when the process that started it is gone.
// Azurite acknowledges writes up to 5 s before they are on disk, so it must not die hard: its own SIGTERM handler, which
// closes the servers and flushes, has to run, once and to its end. (The event is emitted, not sent to the process: on
// Windows a sent SIGTERM kills at once.)
"use strict";

const FLUSH_MS = 15000;
let stopping = false;

process.on("SIGTERM", () => {
  if (stopping) return; // Azurite listens once; without this listener a second SIGTERM would cut the flush
  stopping = true;
  setTimeout(() => process.exit(1), FLUSH_MS).unref();
  if (process.listenerCount("SIGTERM") === 1) process.exit(0); // still starting: nothing was acknowledged yet
});

const parentIsGone = () => process.emit("SIGTERM", "SIGTERM");
process.stdin.once("end", parentIsGone).once("error", parentIsGone).resume();
process.stdin.unref(); // an open stdin must not keep a stopped Azurite alive
