// What every Node program of requests over HTTP does: it asks for all that it knows, or for what ASK names, and tells what it was
// told, as one line of JSON.

export const TEXT = 'Zażółć gęślą jaźń, 你好'
export const told = { requests: 0, input_tokens: 0, output_tokens: 0, untold: 0, pieces: 0, raised: null }

// A request is over, and that is its usage.
export function used(inputTokens, outputTokens) {
  told.requests += 1
  told.input_tokens += inputTokens ?? 0
  told.output_tokens += outputTokens ?? 0
}

// A request is over, and its author is told no usage.
export function usedUnknown() {
  told.requests += 1
  told.untold += 1
}

// Passes a stream's events on, and counts those of the request that is under way.
export async function* pieces(events) {
  told.pieces = 0
  for await (const event of events) {
    told.pieces += 1
    yield event
  }
}

export async function last(events) {
  let event
  for await (event of pieces(events));
  return event
}

// What an SDK raises; of an error that it has tried again for, the last one.
function raised(error) {
  const { message, code, status, statusCode, lastError } = error
  const told = { class: error.constructor.name, text: message, code: code?.toString() ?? null, status: status ?? statusCode ?? null }
  return lastError ? { ...told, last: raised(lastError) } : told
}

// Makes the requests, by name, one after the other.
export async function ask(requests, tellError = () => ({})) {
  try {
    for (const name of process.env.ASK?.split(' ') ?? Object.keys(requests)) await requests[name]()
  } catch (error) {
    told.raised = { ...raised(error), ...tellError(error) }
  }
  console.log(JSON.stringify(told))
}
