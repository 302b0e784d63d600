export { abortError, raceAbort } from './abort.ts';
export { Deadline, type DeadlineOptions, type DeadlineWatcher, withDeadline } from './deadline.ts';
export { KeyedMutex, type KeyedMutexOptions } from './keyed-mutex.ts';
export { type Release, Semaphore, type SemaphoreOptions } from './semaphore.ts';
export { SingleFlight } from './single-flight.ts';
