-- What every script shares: a seed of its own for each thread, and one line of figures at the end.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("thread_number", #threads)
end

function seed(args)
  -- Another seed in each run, or its ids and users would be those of the run before.
  math.randomseed(tonumber(args[1]) * 64 + thread_number)
  for _ = 1, 8 do math.random() end
end

-- wrk sleeps for the whole of its time, also when its threads have stopped before: those say how long they worked.
local function micros_of_work(summary)
  local longest = 0
  for _, thread in ipairs(threads) do
    longest = math.max(longest, thread:get("micros_of_work") or summary.duration)
  end
  return longest
end

function done(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format(
    "RESULT requests=%d micros=%d p50=%d p99=%d max=%d refused=%d broken=%d\n",
    summary.requests, micros_of_work(summary), latency:percentile(50), latency:percentile(99), latency.max,
    failed.status, failed.connect + failed.read + failed.write + failed.timeout))
end
