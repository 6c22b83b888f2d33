-- One job, and the sets it can stand in. Every other script begins with this text.
--
--   <base>:job:<key>   hash   s state (q queued, r running, x dead), p priority, d due ms, a attempts, v lost workers,
--                             f 1 while backing off, t token and by holder while running, ap/ad a nudge that came while
--                             running, w why the last attempt failed
--   <base>:ready       zset   priority * 1e13 + due ms
--   <base>:solo        zset   due ms; jobs suspected of killing their workers
--   <base>:delayed     zset   due ms
--   <base>:running     zset   end of lease, ms
--   <base>:dead        zset   time of death, ms
--   <base>:fence       hash   e when this life of the store began, last token given
--   <base>:wake        channel
--
-- Time is the server's, and nodes say how long to wait, so their clocks need not be right. Every loop is bounded by what the caller sends or by a LIMIT.

local base = KEYS[1]
local READY, SOLO, DELAYED = base .. ':ready', base .. ':solo', base .. ':delayed'
local RUNNING, DEAD, FENCE = base .. ':running', base .. ':dead', base .. ':fence'
local RANK = 1e13

local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now = math.floor(now_us / 1000)
local woken = false

-- The moment so many ms from now; less than 0 is before.
local function after(ms)
  return math.min(math.max(now + ms, 0), RANK - 1)
end

local function at(key)
  return base .. ':job:' .. key
end

local function find(key)
  local h = redis.call('HMGET', at(key), 's', 'p', 'd', 'a', 'v', 'f', 't', 'ap', 'ad')
  if not h[1] then
    return nil
  end
  return {
    key = key, s = h[1],
    p = tonumber(h[2] or 1), d = tonumber(h[3] or now), a = tonumber(h[4] or 0), v = tonumber(h[5] or 0),
    f = h[6] == '1', t = h[7], ap = tonumber(h[8]), ad = tonumber(h[9]),
  }
end

-- A job that failed or lost its worker is no live work until it goes well.
local function rank(j)
  if j.a > 0 or j.v > 0 then
    return math.max(j.p, 1)
  end
  return j.p
end

local function place(j)
  if j.d > now then
    redis.call('ZADD', DELAYED, j.d, j.key)
  elseif j.v >= SOLO_AFTER_LOSSES then
    redis.call('ZADD', SOLO, j.d, j.key)
  else
    redis.call('ZADD', READY, rank(j) * RANK + j.d, j.key)
  end
end

local function lift(key)
  redis.call('ZREM', READY, key)
  redis.call('ZREM', SOLO, key)
  redis.call('ZREM', DELAYED, key)
end

local function queue(j)
  redis.call('HSET', at(j.key), 's', 'q', 'p', j.p, 'd', j.d, 'a', j.a, 'v', j.v, 'f', j.f and 1 or 0)
  redis.call('HDEL', at(j.key), 't', 'by', 'ap', 'ad')
  place(j)
  woken = true
end

local function bury(j, why)
  redis.call('HSET', at(j.key), 's', 'x', 'a', j.a, 'v', j.v, 'w', why)
  redis.call('HDEL', at(j.key), 't', 'by', 'ap', 'ad')
  redis.call('ZADD', DEAD, now, j.key)
end

-- Take up the nudge that came during the run: its priority here, its time as the result.
local function take_again(j)
  if not j.ad then
    return nil
  end
  j.p = math.min(j.p, j.ap or j.p)
  return j.ad
end

local function wake()
  if woken then
    redis.call('PUBLISH', base .. ':wake', '')
  end
end
