-- ARGV: key. Returns 1 if it was dead.

local j = find(ARGV[1])
if not j or j.s ~= 'x' then
  return 0
end
redis.call('ZREM', DEAD, j.key)
redis.call('HDEL', at(j.key), 'w')
j.a, j.v, j.f, j.d = 0, 0, false, now
queue(j)
wake()
return 1
