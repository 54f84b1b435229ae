/**
 * Return the milliseconds to wait after an attempt (from 1): half of what is allowed then, and a share `roll` of the
 * other half. null: it was the last, or the gateway asks for more than patience has.
 * @param {Retry} retry
 * @param {number} attempt
 * @param {number} roll in [0, 1)
 * @param {number | null} askedMs what `Retry-After` asks for
 * @returns {number | null}
 */
export function pauseMs(retry: Retry, attempt: number, roll: number, askedMs: number | null): number | null;
/**
 * Return the milliseconds that a `Retry-After` asks for, given as seconds or as a date; null for neither.
 * @param {string | null} value
 * @param {number} nowMs
 * @returns {number | null}
 */
export function retryAfterMs(value: string | null, nowMs: number): number | null;
/** When a call that failed is made again. The moment and the chance are arguments. */
/**
 * @typedef {object} Retry
 * @property {number} attempts how often, the first counted
 * @property {number} firstMs the longest pause after the first attempt; it doubles each time
 * @property {number} longestMs of any pause that the gateway did not ask for
 * @property {number} patienceMs a `Retry-After` beyond this ends the call
 */
/** @type {Retry} */
export const RETRY: Retry;
/** Answers after which the same call may be taken; so are those from 520 on, which content networks give. */
export const AGAIN: Set<number>;
export type Retry = {
    /**
     * how often, the first counted
     */
    attempts: number;
    /**
     * the longest pause after the first attempt; it doubles each time
     */
    firstMs: number;
    /**
     * of any pause that the gateway did not ask for
     */
    longestMs: number;
    /**
     * a `Retry-After` beyond this ends the call
     */
    patienceMs: number;
};
