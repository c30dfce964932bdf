-- As query.lua, with the tokens of a file in turn. Arguments: the seed, how many users there are, the file.

dofile(os.getenv("BENCH_SCRIPTS") .. "/query.lua")
local start = init

local users, place
local tokens = {}

function init(args)
  start(args)
  users = tonumber(args[2])
  for token in io.lines(args[3]) do
    tokens[#tokens + 1] = { ["Authorization"] = "Bearer " .. token }
  end
  place = thread_number
end

function request()
  place = place % #tokens + 1
  return wrk.format("GET", "/query/" .. math.random(0, users - 1) .. "?limit=20", tokens[place])
end
