// Loaded by node before Azurite: ends it when the process that started it is gone.
// Azurite acknowledges writes up to 5 s before they are on disk, so it must not die hard: its own SIGTERM handler is
// called, which closes the servers and flushes. (Emitted, not sent: on Windows a sent SIGTERM kills at once.)
"use strict";

const FLUSH_MS = 15000;

function stop() {
  setTimeout(() => process.exit(1), FLUSH_MS).unref();
  if (!process.emit("SIGTERM", "SIGTERM")) process.exit(0); // still starting: nothing was acknowledged yet
}

process.stdin.once("end", stop).once("error", stop).resume();
process.stdin.unref(); // an open stdin must not keep a stopped Azurite alive
