-- wrk -s wrk.lua URL -- METHOD TARGETS [BODY]
-- TARGETS names a file with a line "token path" for each request; wrk sends them in turn. All requests are formatted
-- before the measurement starts, so that wrk uses little processor time during it.

local requests, last = {}, 0

function init(args)
  local method, targets, body = args[1], args[2], args[3]
  for line in io.lines(targets) do
    local token, path = line:match("^(%S+) (%S+)$")
    requests[#requests + 1] = wrk.format(method, path, {
      ["Authorization"] = "Bearer " .. token,
      ["Content-Type"] = "application/json",
      ["Origin"] = "http://localhost:3000",
      ["Host"] = wrk.headers["Host"],
    }, body)
  end
end

function request()
  last = last % #requests + 1
  return requests[last]
end

function done(summary, latency)
  local errors = summary.errors
  print(string.format(
    'JSON {"requests": %d, "seconds": %.6f, "refused": %d, "broken": %d, "p50": %.3f, "p99": %.3f}',
    summary.requests, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3
  ))
end
