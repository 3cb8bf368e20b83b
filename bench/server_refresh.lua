-- wrk: one GetMessages after the other for chats that are there, each in turn. CHATS names a file with a
-- path and a form body a line. What comes back with another HTTP status than 200, wrk counts; what is no
-- "statusCode":0 is counted here and said at the end.
local requests, at, bad = {}, 0, 0

function init(arguments)
  for line in io.lines(os.getenv("CHATS")) do
    local path, body = line:match("^(%S+) (%S+)$")
    requests[#requests + 1] = wrk.format("POST", path, {["Content-Type"] = "application/x-www-form-urlencoded"}, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

if os.getenv("CHECK") then
  function response(status, headers, body)
    if not body:find('"statusCode":0,"chatEnded":false', 1, true) then bad = bad + 1 end
  end
end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end
function done(summary, latency, counted)
  local wrong = 0
  for _, thread in ipairs(threads) do wrong = wrong + (thread:get("bad") or 0) end
  local errors = counted
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "failed": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
