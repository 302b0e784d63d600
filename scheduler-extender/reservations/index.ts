export { ReservationKeeper } from './reservation-keeper.ts';
export { DEFAULT_TIMES, Reservations, type ReservationTimes, type Reserved } from './reservations.ts';
