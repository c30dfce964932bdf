-- GET /query: the 20 newest files of a random user. Arguments: the seed, how many users there are.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local users

function init(args)
  seed(args)
  users = tonumber(args[2])
end

function request()
  return wrk.format("GET", "/query/" .. math.random(0, users - 1) .. "?limit=20")
end
