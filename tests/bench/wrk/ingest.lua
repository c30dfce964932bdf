-- POST /ingest: one new file a request, of a random user; even and odd users are on different shards.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local body = '{"user_id":%d,"file_name":"report-%09d.pdf",'
  .. '"mime_type":"application/pdf","size_bytes":%d,"modified_at":"2025-03-04T05:06:07Z"}'
local plain = { ["Content-Type"] = "application/json" }

function init(args)
  seed(args)
end

function request(headers)
  local number = math.random(100000000, 999999999)
  return wrk.format("POST", "/ingest", headers or plain,
    string.format(body, math.random(0, 999999), number, math.random(1000, 9999999)))
end
