-- PATCH or DELETE of files whose ids are made of decimal digits (rows.rs), each file once. Arguments: the seed, the method.
-- A thread stops after its half of the files, and says how long it worked.

dofile(os.getenv("BENCH_SCRIPTS") .. "/report.lua")

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds, nanoseconds; } moment;
  int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1
local FILES = 400 * 100
local THREADS = 2
local headers = { ["Content-Type"] = "application/json" }
local method, next_file, started

local function micros_now()
  local now = ffi.new("moment")
  ffi.C.clock_gettime(MONOTONIC, now)
  return tonumber(now.seconds) * 1000000 + tonumber(now.nanoseconds) / 1000
end

function init(args)
  seed(args)
  method = args[2]
  next_file = thread_number - 1
end

function request()
  started = started or micros_now()
  if next_file >= FILES then
    micros_of_work = micros_now() - started
    wrk.thread:stop()
    return wrk.format("GET", "/")
  end
  -- The slots take turns, so that both shards always have work.
  local digits, number = 1000 + next_file % 400, 1000 + math.floor(next_file / 400)
  next_file = next_file + THREADS
  local user = tonumber(tostring(digits), 16) + 5040 * (1 + number)
  local path = string.format("/files/01900000-%04d-7000-8000-00%04d5d4c1e?user_id=%d", number, digits, user)
  local body = method == "PATCH" and string.format('{"file_name":"renamed-%09d.pdf"}', math.random(1, 999999999)) or nil
  return wrk.format(method, path, headers, body)
end
