-- wrk: sends the prepared requests of the file $REQUESTS, each as "<bytes>\n<request>\n", in order. After the last one it
-- starts again; with $ONCE it stops instead, and the number of sent requests shows that. With $PAUSE each connection waits
-- before each request, for so many milliseconds on average.
local requests = {}
local once = os.getenv("ONCE")
local pause = tonumber(os.getenv("PAUSE") or "")
local thread

if pause then
  function delay()
    return math.random(0, 2 * pause)
  end
end

function setup(created)
  thread = created
end

function init()
  local file = assert(io.open(os.getenv("REQUESTS"), "rb"))
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    requests[#requests + 1] = file:read(length)
  end
  file:close()
  asked, prepared = 0, #requests
end

function request()
  asked = asked + 1
  if once and asked > #requests then wrk.thread:stop() end
  return requests[(asked - 1) % #requests + 1]
end

-- The last line of the output, as JSON; times in microseconds.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"asked": %d, "prepared": %d, "requests": %d, "duration": %d, "p50": %d, "p95": %d, "p99": %d, "max": %d, "refused": %d, "broken": %d}\n',
    thread:get("asked"), thread:get("prepared"), summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
