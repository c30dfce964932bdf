-- GET /read of a random key. Arguments: the seed, how many keys there are.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local keys

function init(args)
  seed(args)
  keys = tonumber(args[2])
end

function request()
  return wrk.format("GET", "/read/user:" .. math.random(0, keys - 1))
end
