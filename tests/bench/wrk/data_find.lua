-- GET /data/{id} of a random object. Arguments: the seed, how many objects each shard has; see cases/documents.rs.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local objects

function init(args)
  seed(args)
  objects = tonumber(args[2])
end

function request()
  local number = math.random(0, objects - 1)
  local slot = (number * 2 + math.random(0, 1)) % 5040
  return wrk.format("GET", string.format("/data/0190%04d-%04d-7000-8000-00%04x5d4c1e", number / 10000, number % 10000, slot))
end
