-- wrk: GetMessages of chats that are there already, each in turn, a line of BENCH_KEYS each: path, tab, form. No
-- answer is read. What is not answered with HTTP 200, or not at all, counts as failed.
local requests, turn = {}, 0

function init(args)
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  for line in io.lines(os.getenv("BENCH_KEYS")) do
    local path, form = line:match("([^\t]+)\t(.+)")
    requests[#requests + 1] = wrk.format("POST", path, headers, form)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "failed": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
