/**
 * What a view is given: `signal` is aborted when it is left, `failed` shows what ended it.
 * @typedef {{signal: AbortSignal, failed: (error: any) => void}} View
 */
export {};
