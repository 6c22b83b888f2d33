-- ARGV: attempts max, then key, token, verb, number, why for each job. Returns 1, or 0 where the lease was not ours.
-- Verbs: done; again (number: wait ms); retry (number: wait ms); dead; back.

local attempts_max = tonumber(ARGV[1])

local function forgive(j)
  j.a, j.v, j.f = 0, 0, false
  redis.call('HDEL', at(j.key), 'w')
end

local function settle(j, verb, number, why)
  if verb == 'dead' or (verb == 'retry' and j.a >= attempts_max) then
    bury(j, why)
    return
  end
  local nudged = take_again(j)
  if verb == 'done' then
    if not nudged then
      redis.call('DEL', at(j.key))
      return
    end
    forgive(j)
    j.d = nudged
  elseif verb == 'again' then
    forgive(j)
    j.d = math.min(nudged or after(number), after(number))
  elseif verb == 'retry' then
    -- The nudge raises the priority; the wait stands.
    j.v, j.f, j.d = 0, true, now + number
    redis.call('HSET', at(j.key), 'w', why)
  else
    j.a = math.max(j.a - 1, 0)
    j.d = math.min(nudged or j.d, j.d)
  end
  queue(j)
end

local ours = {}
for i = 2, #ARGV, 5 do
  local j = find(ARGV[i])
  if j and j.s == 'r' and j.t == ARGV[i + 1] then
    redis.call('ZREM', RUNNING, j.key)
    settle(j, ARGV[i + 2], tonumber(ARGV[i + 3]), ARGV[i + 4])
    ours[#ours + 1] = 1
  else
    ours[#ours + 1] = 0
  end
end
wake()
return ours
