-- GET of one path, the second argument.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local path

function init(args)
  seed(args)
  path = args[2]
end

function request()
  return wrk.format("GET", path)
end
