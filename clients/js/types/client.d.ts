/**
 * Return an event that happens now, under an id of its own: however often it is sent, it counts once.
 * @param {string} type view, cart, purchase, like, impression ...
 * @param {{ session_id: string } & Partial<Event>} fields `session_id`, and `item_id` or (of an impression) `items`
 * @returns {Event}
 */
export function event(type: string, fields: {
    session_id: string;
} & Partial<Event>): Event;
/** Throws WrongUse for an event that cannot be sent. @param {Event} one */
export function check(one: Event): void;
export class Client {
    /** @param {Options} [options] */
    constructor(options?: Options);
    _url: string;
    _headers: {
        Authorization: string;
    } | {
        Authorization?: never;
    };
    _retry: {
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
    _timeoutMs: number;
    _fetch: typeof fetch;
    _sleep: (ms: number) => Promise<void>;
    /**
     * Send at most 1,000 events, made by `event`. Broken ones are named in `rejected`, and the others are taken.
     * @param {Event[]} events
     * @param {{ leaving?: boolean }} [options] `leaving`: the page goes, and is not waited for
     * @returns {Promise<EventsAnswer>}
     */
    sendEvents(events: Event[], options?: {
        leaving?: boolean;
    }): Promise<EventsAnswer>;
    /**
     * Ask for a list. `after` is the token of `sendEvents`: the answer counts those clicks.
     * @param {string} scenario homepage, product, cart, search, email, push, or a scenario of your own
     * @param {Question} question
     * @returns {Promise<RecommendationAnswer>}
     */
    recommend(scenario: string, question: Question): Promise<RecommendationAnswer>;
    /**
     * Ask for the lists of one page, no item twice.
     * @param {PageQuestion} question
     * @returns {Promise<PageAnswer>}
     */
    page(question: PageQuestion): Promise<PageAnswer>;
    /** @param {string} id @returns {Promise<CatalogueItem>} */
    item(id: string): Promise<CatalogueItem>;
    /** @param {string} id @param {Item} item @returns {Promise<CatalogueAnswer>} */
    putItem(id: string, item: Item): Promise<CatalogueAnswer>;
    /**
     * Create or replace any number of items, in as many calls as that takes.
     * @param {Iterable<ItemLine> | AsyncIterable<ItemLine>} items
     * @returns {Promise<CatalogueAnswer>}
     */
    putItems(items: Iterable<ItemLine> | AsyncIterable<ItemLine>): Promise<CatalogueAnswer>;
    /** @param {string} id @param {Record<string, unknown>} patch null takes a field away @returns {Promise<CatalogueAnswer>} */
    patchItem(id: string, patch: Record<string, unknown>): Promise<CatalogueAnswer>;
    /** @param {string} id @returns {Promise<CatalogueAnswer>} */
    deleteItem(id: string): Promise<CatalogueAnswer>;
    /** @param {Record<string, number>} stock by item id @returns {Promise<CatalogueAnswer>} */
    setStock(stock: Record<string, number>): Promise<CatalogueAnswer>;
    /** @param {string} id @returns {Promise<UserDocument>} */
    user(id: string): Promise<UserDocument>;
    /** @param {string} id @param {UserDocument} user @returns {Promise<UserAnswer>} */
    putUser(id: string, user: UserDocument): Promise<UserAnswer>;
    /** @param {string} id @param {Record<string, unknown>} patch @returns {Promise<UserAnswer>} */
    patchUser(id: string, patch: Record<string, unknown>): Promise<UserAnswer>;
    /** Forget a user. @param {string} id @returns {Promise<UserAnswer>} */
    deleteUser(id: string): Promise<UserAnswer>;
    /** @param {string} id @param {Hide} what @returns {Promise<UserAnswer>} */
    doNotShow(id: string, what: Hide): Promise<UserAnswer>;
    /** @param {string} id @param {Hide} what @returns {Promise<UserAnswer>} */
    showAgain(id: string, what: Hide): Promise<UserAnswer>;
    /**
     * @param {string} method
     * @param {string} path
     * @param {string} [body]
     * @param {{ kind?: string, leaving?: boolean }} [options]
     * @returns {Promise<any>}
     */
    _ask(method: string, path: string, body?: string, options?: {
        kind?: string;
        leaving?: boolean;
    }): Promise<any>;
    /**
     * @param {string} method
     * @param {string} path
     * @param {string | undefined} body
     * @param {{ kind?: string, leaving?: boolean }} options
     */
    _attempt(method: string, path: string, body: string | undefined, { kind, leaving }: {
        kind?: string;
        leaving?: boolean;
    }): Promise<{
        status: number;
        text: string;
        asked: string | null;
        fault: string;
    }>;
}
export type Schemas = import("../types/api.js").components["schemas"];
export type Event = Schemas["Event"];
export type EventsAnswer = Schemas["EventsAnswer"];
export type Question = Schemas["RecommendationRequest"];
export type RecommendationAnswer = Schemas["RecommendationAnswer"];
export type PageQuestion = Schemas["PageRequest"];
export type PageAnswer = Schemas["PageAnswer"];
export type Item = Schemas["Item"] & {
    [field: string]: unknown;
};
export type ItemLine = Schemas["ItemLine"] & {
    [field: string]: unknown;
};
export type CatalogueItem = Schemas["CatalogueItem"];
export type CatalogueAnswer = Schemas["CatalogueAnswer"];
export type UserDocument = Schemas["UserDocument"];
export type UserAnswer = Schemas["UserAnswer"];
export type Hide = Schemas["Hide"];
export type Options = {
    /**
     * the gateway's address; of a page that is left out, its own origin
     */
    url?: string;
    /**
     * an API key; of a page a public one (`ncp_...`)
     */
    key?: string;
    retry?: Partial<import("./retries.js").Retry>;
    /**
     * of one attempt
     */
    timeoutMs?: number;
    fetch?: typeof globalThis.fetch;
    sleep?: (ms: number) => Promise<void>;
};
