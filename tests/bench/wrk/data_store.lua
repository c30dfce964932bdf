-- POST /data of a new object.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local headers = { ["Content-Type"] = "application/json" }

function init(args)
  seed(args)
end

function request()
  local number = math.random(100000000, 999999999)
  return wrk.format("POST", "/data", headers, string.format('{"number":%d,"text":"an object of no great length"}', number))
end
