-- Takes units of a caller's rate, by the server's clock (src/limits/gcra.rs does the same in one process).
-- KEYS[1]: the caller. ARGV: microseconds a unit, units at once; units that were used already, units that are needed, units that
-- are wanted if there are so many. Used units are taken whether they are there or not.
-- Gives: units taken of the wanted ones, units left, microseconds until the needed units are there (or, of used ones, will have
-- been), microseconds until one unit is there.
-- Microseconds count from a recent moment, so that a double holds fractions of them.
local clock = redis.call('TIME')
local now = (clock[1] - 1750000000) * 1000000 + clock[2]
local unit, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local owed, need, want = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local paid = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + owed * unit
local free = math.floor((now + burst * unit - paid) / unit + 0.0001)
local take = 0
if free >= need then take = math.min(want, free) end
if owed + take > 0 then
  paid = paid + take * unit
  redis.call('SET', KEYS[1], string.format('%.3f', paid), 'PX', math.ceil((paid - now) / 1000) + 1)
end
local beyond = paid - now - burst * unit
local wait = beyond
if take == 0 then wait = beyond + need * unit end
return {take, math.max(free - take, 0), math.ceil(math.max(wait, 0)), math.ceil(math.max(beyond + unit, 0))}
