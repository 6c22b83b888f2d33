-- ARGV: lease ms, then key, token, epoch, priority, attempt for each lease. Returns 1 or 0 for each.

local until_ms = now + tonumber(ARGV[1])
local kept = {}
for i = 2, #ARGV, 5 do
  local key, token = ARGV[i], ARGV[i + 1]
  local j = find(key)
  local ours = j and j.s == 'r' and j.t == token
  if not ours and (not j or j.s == 'q') and redis.call('HGET', FENCE, 'e') ~= ARGV[i + 2] then
    -- The store was emptied since this job was claimed, and nobody else has taken it: the run goes on under its lease,
    -- and a nudge that was queued meanwhile is a nudge that came during the run.
    redis.call('HSETNX', FENCE, 'e', now_us)
    redis.call('HSET', at(key), 's', 'r', 'p', ARGV[i + 3], 'd', now, 'a', ARGV[i + 4], 'v', 0, 'f', 0, 't', token)
    if j then
      lift(key)
      redis.call('HSET', at(key), 'ap', j.p, 'ad', j.d)
    end
    ours = true
  end
  if ours then
    redis.call('ZADD', RUNNING, until_ms, key)
  end
  kept[#kept + 1] = ours and 1 or 0
end
return kept
