-- GET /drives/{user}/children: the first page of one of two folders, which are on different shards.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local folders = {}

function init(args)
  seed(args)
  folders = { args[2], args[3] }
end

function request()
  local pick = math.random(0, 1)
  return wrk.format("GET", string.format("/drives/%d/children?limit=100&folder_id=%s", 42 + pick, folders[pick + 1]))
end
