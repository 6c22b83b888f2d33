-- ARGV: max, solo (1 or 0), lease ms, holder, attempts max.
-- Returns: next due in ms (-1 is never), epoch, and a list of key, token, priority, attempt, solo for each claimed job.

local max, lease = tonumber(ARGV[1]), tonumber(ARGV[3])
local attempts_max = tonumber(ARGV[5])

-- Orphans: each lost worker was an attempt.
for _, key in ipairs(redis.call('ZRANGEBYSCORE', RUNNING, '-inf', now, 'LIMIT', 0, STEP_MAX)) do
  redis.call('ZREM', RUNNING, key)
  local j = find(key)
  if j and j.s == 'r' then
    j.v = j.v + 1
    if j.a >= attempts_max then
      bury(j, string.format('its worker vanished in attempt %d', j.a))
    else
      take_again(j)
      j.d = now
      queue(j)
    end
  end
end

local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', now, 'LIMIT', 0, STEP_MAX)
for _, key in ipairs(due) do
  redis.call('ZREM', DELAYED, key)
  local j = find(key)
  if j and j.s == 'q' then
    place(j)
  end
end

local token, epoch = nil, 0
local claimed = {}
local function take(set, key, solo)
  redis.call('ZREM', set, key)
  local j = find(key)
  if not j or j.s ~= 'q' then
    return
  end
  if not token then
    redis.call('HSETNX', FENCE, 'e', now_us)
    epoch = tonumber(redis.call('HGET', FENCE, 'e'))
    token = math.max(now_us, tonumber(redis.call('HGET', FENCE, 'last') or 0))
  end
  token = token + 1
  redis.call('HSET', at(key), 's', 'r', 'a', j.a + 1, 'f', 0, 't', token, 'by', ARGV[4])
  redis.call('ZADD', RUNNING, now + lease, key)
  for _, value in ipairs({ key, token, j.p, j.a + 1, solo }) do
    claimed[#claimed + 1] = value
  end
  max = max - 1
end

if ARGV[2] == '1' and max > 0 then
  for _, key in ipairs(redis.call('ZRANGE', SOLO, 0, 0)) do
    take(SOLO, key, 1)
  end
end
if max > 0 then
  for _, key in ipairs(redis.call('ZRANGE', READY, 0, max - 1)) do
    take(READY, key, 0)
  end
end
if token then
  redis.call('HSET', FENCE, 'last', token)
end

local next_due = -1
if #due == STEP_MAX then
  next_due = 0
else
  local first = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
  if first[2] then
    next_due = tonumber(first[2]) - now
  end
end
return { next_due, epoch, claimed }
