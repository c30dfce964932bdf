-- GET /files/{id}: one of the files whose ids are made of decimal digits; see rows.rs.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

function init(args)
  seed(args)
end

function request()
  return wrk.format("GET", string.format("/files/01900000-%04d-7000-8000-00%04d5d4c1e",
    math.random(1000, 1099), math.random(1000, 1399)))
end
