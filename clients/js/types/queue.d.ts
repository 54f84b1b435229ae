/** @typedef {import('./client.js').Event} Event */
/**
 * @typedef {object} QueueOptions
 * @property {number} [batch] events of one call, at most
 * @property {number} [everyMs] how long the first of them waits
 * @property {number} [most] events that wait, at most; newer ones are left out
 * @property {(event: Event, why: string) => void} [told] called with every event that is left out or refused
 */
/**
 * What waits when a page is left is sent then; when Node has nothing else to do, it is sent before it ends.
 */
export class EventQueue {
    /** @param {import('./client.js').Client} client @param {QueueOptions} [options] */
    constructor(client: import("./client.js").Client, { batch, everyMs, most, told }?: QueueOptions);
    _client: import("./client.js").Client;
    _batch: number;
    _everyMs: number;
    _most: number;
    _told: (event: Event, why: string) => void;
    /** @type {Event[]} */
    _waiting: Event[];
    /** @type {Promise<boolean> | null} */
    _sending: Promise<boolean> | null;
    /** @type {any} */
    _timer: any;
    _closed: boolean;
    sent: number;
    refused: number;
    dropped: number;
    _leave: () => undefined;
    _end: () => undefined;
    /** How many wait. */
    get length(): number;
    /**
     * Add an event that happens now: see `event`.
     * @param {string} type
     * @param {Parameters<typeof event>[1]} fields
     */
    track(type: string, fields: Parameters<typeof event>[1]): boolean;
    /**
     * Add an event; false where there is no room for it. Throws WrongUse once the queue is closed, and for what JSON
     * cannot hold.
     * @param {Event} one
     */
    add(one: Event): boolean;
    /** Send all that waits; false where it could not be sent, and still waits. @returns {Promise<boolean>} */
    flush(): Promise<boolean>;
    /** Send what waits, and stop. What could not be sent is told, and counted in `dropped`. */
    close(): Promise<void>;
    _later(): void;
    /** @returns {Promise<boolean>} */
    _send(): Promise<boolean>;
    /** The page goes: send what waits without waiting for it. What is under way comes twice, and counts once. */
    _goodbye(): Promise<void>;
    /** @param {Event} one @param {string} why */
    _tell(one: Event, why: string): void;
}
export type Event = import("./client.js").Event;
export type QueueOptions = {
    /**
     * events of one call, at most
     */
    batch?: number;
    /**
     * how long the first of them waits
     */
    everyMs?: number;
    /**
     * events that wait, at most; newer ones are left out
     */
    most?: number;
    /**
     * called with every event that is left out or refused
     */
    told?: (event: Event, why: string) => void;
};
import { event } from './client.js';
