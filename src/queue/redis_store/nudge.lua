-- ARGV: key, priority, wait ms ('' is none), repeated.

for i = 1, #ARGV, 3 do
  local key, p = ARGV[i], tonumber(ARGV[i + 1])
  local d = ARGV[i + 2] == '' and now or after(tonumber(ARGV[i + 2]))
  local j = find(key)
  if not j then
    queue({ key = key, p = p, d = d, a = 0, v = 0, f = false })
  elseif j.s == 'q' then
    local sooner = j.f and j.d or math.min(j.d, d)
    if p < j.p or sooner < j.d then
      lift(key)
      j.p, j.d = math.min(p, j.p), sooner
      queue(j)
    elseif not (redis.call('ZSCORE', READY, key) or redis.call('ZSCORE', DELAYED, key)
        or redis.call('ZSCORE', SOLO, key)) then
      -- Redis lost a set and kept the hash (an eviction policy does that): stand where it belongs again.
      queue(j)
    end
  elseif j.s == 'r' then
    redis.call('HSET', at(key), 'ap', math.min(j.ap or p, p), 'ad', math.min(j.ad or d, d))
    redis.call('ZADD', RUNNING, 'NX', now, key)
  else
    redis.call('ZADD', DEAD, 'NX', now, key)
  end
end
wake()
return 1
