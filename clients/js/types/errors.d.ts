/** Whatever this client throws on purpose. */
export class NextclickError extends Error {
}
/** Arguments that make no call: nothing was sent. */
export class WrongUse extends NextclickError {
}
/** The gateway does not take the call; sending it again changes nothing. */
export class Refused extends NextclickError {
    /**
     * @param {string} what method and path
     * @param {number} status of HTTP
     * @param {string} body
     */
    constructor(what: string, status: number, body: string);
    status: number;
    detail: string;
    /** @type {{ pointer: string, detail: string }[]} JSON pointers into the body, and what is wrong there */
    fields: {
        pointer: string;
        detail: string;
    }[];
}
/** No answer, or no room, at any attempt; sending it again later may help, and counts once. */
export class Unavailable extends NextclickError {
    /**
     * @param {string} what method and path
     * @param {number} attempts
     * @param {string} got
     * @param {number | null} status of the last answer; null where none came
     */
    constructor(what: string, attempts: number, got: string, status: number | null);
    attempts: number;
    status: number | null;
}
