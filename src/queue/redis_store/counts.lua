-- Returns: ready, delayed, running, dead.

local due = redis.call('ZCOUNT', DELAYED, '-inf', now)
return {
  redis.call('ZCARD', READY) + redis.call('ZCARD', SOLO) + due,
  redis.call('ZCARD', DELAYED) - due,
  redis.call('ZCARD', RUNNING),
  redis.call('ZCARD', DEAD),
}
