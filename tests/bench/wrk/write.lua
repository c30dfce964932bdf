-- POST /write of a random key. Arguments: the seed, how many keys there are.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local body = '{"key":"user:%d","value":{"name":"John Doe %09d","mail":"john.doe.%09d@example.org","theme":"dark"}}'
local headers = { ["Content-Type"] = "application/json" }
local keys

function init(args)
  seed(args)
  keys = tonumber(args[2])
end

function request()
  local number = math.random(100000000, 999999999)
  return wrk.format("POST", "/write", headers, string.format(body, math.random(0, keys - 1), number, number))
end
