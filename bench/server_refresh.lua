-- wrk: one GetMessages after the other for chats that are there, each in turn. CHATS names a file with a path and a
-- form body a line. What is not answered with HTTP 200, or not at all, counts as failed.
local requests, at = {}, 0

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

function done(summary, latency, counted)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "failed": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
