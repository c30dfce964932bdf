-- GET /read of one key after the other, no key twice in a run. Arguments: the seed, how many keys there are.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local keys, step, place

function init(args)
  seed(args)
  keys = tonumber(args[2])
  -- Two threads: the even keys and the odd ones, from a random place on.
  step = 2
  place = math.random(0, keys / 2 - 1) * 2 + thread_number % 2
end

function request()
  place = (place + step) % keys
  return wrk.format("GET", "/read/user:" .. place)
end
