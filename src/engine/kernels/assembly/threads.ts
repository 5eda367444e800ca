/**
 * How the calling thread shares a command with workers, through words of shared memory at CONTROL.
 *
 * The caller opens the gate, takes units itself and closes the gate when none are left; it then waits only for workers
 * that have joined. A worker that is asleep or was not scheduled in time is never waited for, so small commands cost
 * next to nothing and a busy machine loses help, not time.
 *
 * Only additions and subtractions: V8 11.3's baseline compiler (Node 20) builds and, or and compare-and-exchange from a
 * loop that overwrites a register it does not own, and loses locals of the function around them.
 *
 * Layout: threads.ts of the backend knows the same places.
 */
const CONTROL: usize = 64;
/** OPEN bit and the number of workers inside. */
const GATE: usize = CONTROL;
const COMMAND: usize = CONTROL + 4;
/** Counts offers; workers sleep on it. */
const SIGNAL: usize = CONTROL + 64;
const SLEEPERS: usize = CONTROL + 68;
const QUIT: usize = CONTROL + 72;
const SCRATCH: usize = CONTROL + 76;
const SCRATCH_STRIDE: usize = CONTROL + 80;
// CONTROL + 84 is FAILED, which WebAssembly does not touch.
/** Counts the commands that a worker has helped with. */
const HELPED: usize = CONTROL + 88;
/** Next unit, on a cache line of its own: everyone adds to it. */
const NEXT: usize = CONTROL + 128;

const OPEN: i32 = 1 << 16;
/** Looks at the signal before sleeping: some tens of microseconds, longer than the gap between commands of a plan. */
const WORKER_SPINS: i32 = 20000;
const CALLER_SPINS: i32 = 20000;

export function scratchOf(thread: i32): usize {
  return load<usize>(SCRATCH) + <usize>thread * load<usize>(SCRATCH_STRIDE);
}

export function offer(cmd: usize): void {
  store<usize>(COMMAND, cmd);
  atomic.store<i32>(NEXT, 0);
  // Added, not stored: a worker that came late may be on its way out (see join).
  atomic.add<i32>(GATE, OPEN);
  atomic.add<i32>(SIGNAL, 1);
  if (atomic.load<i32>(SLEEPERS) > 0) atomic.notify(SIGNAL, -1);
}

export function close(): void {
  atomic.sub<i32>(GATE, OPEN);
  let spins = 0;
  for (let gate = atomic.load<i32>(GATE); gate != 0; gate = atomic.load<i32>(GATE)) {
    // A worker in its last unit that lost its core: give ours away for a moment instead of spinning on.
    if (++spins > CALLER_SPINS) atomic.wait<i32>(GATE, gate, 50000);
  }
}

/** The command on offer, entered; 0 if there is none. Who finds the gate shut has stepped in for a moment only. */
export function join(): usize {
  if (atomic.add<i32>(GATE, 1) & OPEN) return load<usize>(COMMAND);
  atomic.sub<i32>(GATE, 1);
  return 0;
}

export function leave(): void {
  atomic.add<i32>(HELPED, 1);
  atomic.sub<i32>(GATE, 1);
}

export function nextUnits(grain: i32): i32 {
  return atomic.add<i32>(NEXT, grain);
}

export function isQuitting(): bool {
  return atomic.load<i32>(QUIT) != 0;
}

/** Wait until the signal differs from `seen`; its new value. */
export function waitForOffer(seen: i32): i32 {
  for (let i = 0; i < WORKER_SPINS; i++) {
    const signal = atomic.load<i32>(SIGNAL);
    if (signal != seen) return signal;
  }
  atomic.add<i32>(SLEEPERS, 1);
  atomic.wait<i32>(SIGNAL, seen, -1);
  atomic.sub<i32>(SLEEPERS, 1);
  return atomic.load<i32>(SIGNAL);
}
