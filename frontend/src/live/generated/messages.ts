/* Made from docs/asyncapi.json by npm run generate; the types' home is tasks_app/messages.py. */

export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        ClientMessage: components["schemas"]["SubscribeTasks"] | components["schemas"]["SubscribeResults"] | components["schemas"]["SubscribeStocks"] | components["schemas"]["Unsubscribe"] | components["schemas"]["Ping"];
        /** @description One cluster in one result. Predictions are for the result's target time. */
        Cluster: {
            id: number;
            size: number;
            /** @description Mean of the members' prices */
            price: number | null;
            /**
             * @description Chain-linked index, 100 at the cluster's start
             * @default null
             */
            index?: number | null;
            predicted_price: number | null;
            /** @default null */
            predicted_index?: number | null;
            /** @default null */
            predicted_bp?: number | null;
            /** @default null */
            predicted_median_bp?: number | null;
            /**
             * @description Where the return lies in 80 % of the cases
             * @default null
             */
            band80_bp?: [
                number,
                number
            ] | null;
            /** @default null */
            band95_bp?: [
                number,
                number
            ] | null;
            /**
             * @description The guard fell back on the last price
             * @default false
             */
            fallback?: boolean;
            /** @default null */
            score?: components["schemas"]["Ratio"] | null;
        } & {
            [key: string]: unknown;
        };
        Counts: {
            predicted: number;
            scored: number;
            no_truth: number;
        } & {
            [key: string]: unknown;
        };
        /** @description Share of returns inside a band, its edges included: of all, and of those that were not 0. */
        Coverage: {
            coverage: number | null;
            coverage_moved: number | null;
        } & {
            [key: string]: unknown;
        };
        /** @description A message that can't be followed; it says what was expected. */
        Error: {
            /** @constant */
            type: "error";
            detail: string;
        };
        /** @description The first message. */
        Hello: {
            /** @constant */
            type: "hello";
            user: string;
            /** Format: date-time */
            now: string;
        };
        /** @description One result. */
        Item: {
            /** @example 1795450006000-0 */
            id: string;
            numbers: components["schemas"]["Numbers"];
            meta: components["schemas"]["Meta"];
        };
        /** @description When a result was made, and how late: wall times in ms since 1970, UTC. */
        Meta: {
            seq: number;
            feed: string;
            attempt: number;
            /** @description When the snapshot's last row was handed to the feed */
            handed_ms: number;
            published_ms: number;
            /** @description When an executor began with it */
            begun_ms: number;
            /** @description When its columns were on the driver */
            mapped_ms: number;
            /** @description What the processor's last stretch took */
            step_ms: number;
            result_ms: number;
            /** @description From publishing to the result */
            lag_ms: number;
            late: boolean;
            /** @description Snapshots since the task's start that were trimmed from the bus unread */
            missed: number;
        };
        /** @description What a stream processor says of one snapshot: the same at every replay. Times in ms since 1970, UTC. */
        Numbers: {
            run: number;
            index: number;
            time: number;
            target_time: number;
            session: string;
            trading: boolean;
            /** @default null */
            feature_set?: string | null;
            /** @default null */
            regression?: string | null;
            /** @default null */
            silhouette?: number | null;
            /** @default null */
            k?: number | null;
            stocks: number;
            real: number;
            clusters: components["schemas"]["Cluster"][];
            scores: components["schemas"]["Scores"] | null;
            /** @default null */
            counts?: components["schemas"]["Counts"] | null;
            events: components["schemas"]["ResultEvent"][];
        } & {
            [key: string]: unknown;
        };
        Ping: {
            /** @constant */
            type: "ping";
        };
        Pong: {
            /** @constant */
            type: "pong";
        };
        /** @description What an attempt tells of itself, and what is seen of it from outside. Each fact is there when it is known. */
        Progress: {
            /**
             * @description What a batch task is doing
             * @default null
             */
            stage?: string | null;
            /**
             * @description 1 is the first stage
             * @default null
             */
            stage_number?: number | null;
            /** @default null */
            stages?: number | null;
            /**
             * @description Share done, 0 to 1
             * @default null
             */
            share?: number | null;
            /**
             * @description Of this attempt
             * @default null
             */
            batches?: number | null;
            /**
             * @description Of this attempt
             * @default null
             */
            rows?: number | null;
            /**
             * @description Over the last ten seconds
             * @default null
             */
            rows_per_s?: number | null;
            /**
             * @description ms since 1970, UTC
             * @default null
             */
            last_batch_at?: number | null;
            /** @default null */
            lag_ms?: number | null;
            /**
             * @description Snapshots since the task's start that could not be read any more
             * @default null
             */
            missed?: number | null;
            /**
             * @description Snapshots that wait on the bus
             * @default null
             */
            behind?: number | null;
            /** @default null */
            stalled?: boolean | null;
            /**
             * @description In use of the JVM's heap
             * @default null
             */
            heap_mb?: number | null;
            /**
             * @description Resident
             * @default null
             */
            jvm_mb?: number | null;
            /**
             * @description Resident, of all its Python processes
             * @default null
             */
            python_mb?: number | null;
            /**
             * @description When its checkpoint was written; ms since 1970, UTC
             * @default null
             */
            saved_at?: number | null;
            /**
             * @description Why its checkpoint could not be written; empty: it could
             * @default null
             */
            unsaved?: string | null;
        } & {
            [key: string]: unknown;
        };
        /** @description A place in the queue for a free slot. */
        Queue: {
            /** @description 1: the next to get a slot */
            position: number;
            /** @description Slots in use */
            taken: number;
            /** @description Of all workers; 0: there is no worker */
            slots: number;
        };
        /** @description How good forecasts were: error as ratio to that of the last price; null before there was anything to score. */
        Ratio: {
            rmse_ratio: number | null;
            mae_ratio: number | null;
            n: number;
        } & {
            [key: string]: unknown;
        };
        /** @description Something that happened between two results, such as a changed number of clusters. */
        ResultEvent: {
            kind: string;
        } & {
            [key: string]: unknown;
        };
        /** @description What a client lacks of a task's results; ``restart``: forget what you have. */
        ResultsSnapshot: {
            /** @constant */
            type: "snapshot";
            /** @constant */
            topic: "results";
            task: number;
            items: components["schemas"]["Item"][];
            restart: boolean;
        };
        /** @description One more result. When ``prev`` is not the last id you have, subscribe again with ``after``. */
        ResultsUpdate: {
            /** @constant */
            type: "update";
            /** @constant */
            topic: "results";
            task: number;
            prev: string | null;
            item: components["schemas"]["Item"];
        };
        /** @description The whole score of a forecaster. Intervals are 95 % ones of the ratios; null while too little is known. */
        Score: {
            rmse_ratio: number | null;
            mae_ratio: number | null;
            n: number;
            /** @default null */
            rmse_interval?: [
                number,
                number
            ] | null;
            /** @default null */
            mae_interval?: [
                number,
                number
            ] | null;
            /**
             * @description Of forecasts of a move that were followed by one: right sign
             * @default null
             */
            hit_rate?: number | null;
            /**
             * @description Share of forecasts that are the last price
             * @default null
             */
            silent_share?: number | null;
            /** @default null */
            band80?: components["schemas"]["Coverage"] | null;
            /** @default null */
            band95?: components["schemas"]["Coverage"] | null;
            /**
             * @description Of the 80 % band, to ± 1.28 σ around the last price
             * @default null
             */
            interval_score_ratio?: number | null;
        } & {
            [key: string]: unknown;
        };
        Scores: {
            since_start: components["schemas"]["Score"];
            recent: components["schemas"]["Score"];
        } & {
            [key: string]: unknown;
        };
        ServerMessage: components["schemas"]["Hello"] | components["schemas"]["Pong"] | components["schemas"]["ResultsSnapshot"] | components["schemas"]["ResultsUpdate"] | components["schemas"]["TasksSnapshot"] | components["schemas"]["TasksUpdate"] | components["schemas"]["Stocks"] | components["schemas"]["Error"];
        /**
         * @description Columns of equal length, one row per stock; null where there is no value. Those of the forecast are left out by
         *     a processor that predicts nothing.
         */
        StockColumns: {
            code: string[];
            cluster: (number | null)[];
            price: (number | null)[];
            /** @default null */
            forecast?: (number | null)[] | null;
            /** @default null */
            median?: (number | null)[] | null;
            /**
             * @description Half-width around the forecast, in bp
             * @default null
             */
            band80_bp?: (number | null)[] | null;
            /** @default null */
            band95_bp?: (number | null)[] | null;
            return_bp: (number | null)[];
            age_s: (number | null)[];
            /** @default null */
            fallback?: (boolean | null)[] | null;
        };
        /** @description Per-stock columns of the newest result: all rows when ``full``, else those that changed; at most 500. */
        Stocks: {
            /** @constant */
            type: "stocks";
            task: number;
            /** @example 1795450006000-0 */
            id: string;
            full: boolean;
            total: number;
            columns: components["schemas"]["StockColumns"];
        };
        /** @description Results of a task: the newest 600 that Redis holds, or what came after an id, and then each new one. */
        SubscribeResults: {
            /** @constant */
            type: "subscribe";
            /** @constant */
            topic: "results";
            task: number;
            /** @default null */
            after?: string | null;
        };
        /** @description Per-stock columns of a task's newest result, of one cluster or all, of codes that contain a text. */
        SubscribeStocks: {
            /** @constant */
            type: "subscribe";
            /** @constant */
            topic: "stocks";
            task: number;
            /** @default null */
            cluster?: number | null;
            /** @default  */
            query?: string;
        };
        /** @description All tasks and their changes. */
        SubscribeTasks: {
            /** @constant */
            type: "subscribe";
            /** @constant */
            topic: "tasks";
        };
        /** @description One run order of one processor. */
        Task: {
            id: number;
            processor: string;
            title: string;
            /** @enum {string} */
            kind: "feed" | "stream" | "batch";
            feed: string | null;
            params: {
                [key: string]: unknown;
            };
            /** @enum {string} */
            status: "Initial" | "Started" | "Running" | "Finished" | "Stopped" | "Terminated";
            stopping: boolean;
            attempt: number;
            reason: string;
            /** @description End of the traceback, secrets masked */
            error: string;
            created_by: string | null;
            /** Format: date-time */
            created_at: string;
            queued_at: string | null;
            started_at: string | null;
            running_at: string | null;
            ended_at: string | null;
            progress: components["schemas"]["Progress"];
            /** @description What may be asked of the task in its state */
            actions: ("start" | "stop" | "retry")[];
            /** @description Parameters that may change while it runs */
            live_params: string[];
            /** @description Of the code that its newest attempt ran; empty before one did */
            code_hash: string;
            /** @description Heap of its JVM, if it has one */
            memory_mb: number;
            /**
             * @description What follows when its process or worker dies
             * @enum {string}
             */
            on_loss: "resume" | "end";
            /** @description Whether its results are kept, to be looked at later */
            keep: boolean;
            /** @description Where it stands while it waits for a free slot */
            queue: components["schemas"]["Queue"] | null;
            /** @description Alive, but no batch although snapshots wait */
            stalled: boolean;
        };
        TasksSnapshot: {
            /** @constant */
            type: "snapshot";
            /** @constant */
            topic: "tasks";
            tasks: components["schemas"]["Task"][];
        };
        TasksUpdate: {
            /** @constant */
            type: "update";
            /** @constant */
            topic: "tasks";
            task: components["schemas"]["Task"];
        };
        Unsubscribe: {
            /** @constant */
            type: "unsubscribe";
            /** @enum {string} */
            topic: "tasks" | "results" | "stocks";
            /** @default null */
            task?: number | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type ClientMessage = components['schemas']['ClientMessage'];
export type Cluster = components['schemas']['Cluster'];
export type Counts = components['schemas']['Counts'];
export type Coverage = components['schemas']['Coverage'];
export type Error = components['schemas']['Error'];
export type Hello = components['schemas']['Hello'];
export type Item = components['schemas']['Item'];
export type Meta = components['schemas']['Meta'];
export type Numbers = components['schemas']['Numbers'];
export type Ping = components['schemas']['Ping'];
export type Pong = components['schemas']['Pong'];
export type Progress = components['schemas']['Progress'];
export type Queue = components['schemas']['Queue'];
export type Ratio = components['schemas']['Ratio'];
export type ResultEvent = components['schemas']['ResultEvent'];
export type ResultsSnapshot = components['schemas']['ResultsSnapshot'];
export type ResultsUpdate = components['schemas']['ResultsUpdate'];
export type Score = components['schemas']['Score'];
export type Scores = components['schemas']['Scores'];
export type ServerMessage = components['schemas']['ServerMessage'];
export type StockColumns = components['schemas']['StockColumns'];
export type Stocks = components['schemas']['Stocks'];
export type SubscribeResults = components['schemas']['SubscribeResults'];
export type SubscribeStocks = components['schemas']['SubscribeStocks'];
export type SubscribeTasks = components['schemas']['SubscribeTasks'];
export type Task = components['schemas']['Task'];
export type TasksSnapshot = components['schemas']['TasksSnapshot'];
export type TasksUpdate = components['schemas']['TasksUpdate'];
export type Unsubscribe = components['schemas']['Unsubscribe'];
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
