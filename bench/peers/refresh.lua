-- GetMessages of chats that are there already, a line of BENCH_KEYS each: path, tab, form. No answer is read.
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
