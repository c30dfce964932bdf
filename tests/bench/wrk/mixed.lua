-- One write for each two reads. Arguments as of query.lua.

dofile(os.getenv("BENCH_SCRIPTS") .. "/query.lua")
local start, read = init, request
dofile(os.getenv("BENCH_SCRIPTS") .. "/ingest.lua")
local write = request

function init(args)
  start(args)
end

function request()
  if math.random(3) == 1 then return write() end
  return read()
end
