-- As ingest.lua, each request with an Idempotency-Key of its own, as long as a UUID.

dofile(os.getenv("BENCH_SCRIPTS") .. "/ingest.lua")
local plain = request

local headers = { ["Content-Type"] = "application/json" }

function init(args)
  seed(args)
end

function request()
  headers["Idempotency-Key"] = string.format("%08x-%04x-4%03x-8%03x-%06x%06x", math.random(0, 4294967295),
    math.random(0, 65535), math.random(0, 4095), math.random(0, 4095), math.random(0, 16777215), math.random(0, 16777215))
  return plain(headers)
end
