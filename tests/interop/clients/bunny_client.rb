# SPDX-License-Identifier: Apache-2.0
#
# What README.md says of retries, with bunny: a worker's queue, one in which what it rejects waits for
# its time to be over, and one for what has been tried often enough, as Sneakers' Maxretry has them.

require 'bunny'

ATTEMPTS = 3
WAIT_MS = 200
PATIENCE_S = 20

def done(step)
  puts "ok #{step}"
  $stdout.flush
end

def check(condition, what)
  abort "failed: #{what}" unless condition
end

def connect(url, authority)
  options = { automatically_recover: false, logger: Logger.new(IO::NULL) }
  options.update(tls: true, verify_peer: true, tls_ca_certificates: [authority]) if authority
  Bunny.new(url, options).tap(&:start)
end

# Runs the block again until it says something.
def await(what)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + PATIENCE_S
  loop do
    found = yield
    return found if found

    check(Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline, what)
    sleep 0.01
  end
end

# How often the worker has failed already, by what the broker says: as Maxretry counts.
def failure_count(headers, queue)
  deaths = (headers || {})['x-death'] || []
  deaths.select { |death| death['queue'] == queue }.sum { |death| death['count'] }
end

connection = connect(ARGV[0], ARGV[1])
channel = connection.create_channel
name = "interop-bunny-#{Process.pid}"
done 'connect'

retry_exchange = channel.topic("#{name}-retry", auto_delete: true)
error_exchange = channel.topic("#{name}-error", auto_delete: true)
requeue_exchange = channel.topic("#{name}-requeue", auto_delete: true)
worker = channel.queue(name, durable: true,
                             arguments: { 'x-dead-letter-exchange' => retry_exchange.name })
waiting = channel.queue("#{name}-retry", durable: true, arguments: {
                          'x-dead-letter-exchange' => requeue_exchange.name,
                          'x-message-ttl' => WAIT_MS
                        })
failed = channel.queue("#{name}-error", durable: true)
waiting.bind(retry_exchange, routing_key: '#')
worker.bind(requeue_exchange, routing_key: '#')
failed.bind(error_exchange, routing_key: '#')
done 'declare'

channel.confirm_select
channel.default_exchange.publish('{"job":1}', routing_key: name, persistent: true,
                                              headers: { 'mine' => 7 })
check(channel.wait_for_confirms, 'confirm')
done 'publish'

tries = []
channel.prefetch(1)
consumer = worker.subscribe(manual_ack: true) do |delivery, properties, payload|
  tries << [Process.clock_gettime(Process::CLOCK_MONOTONIC),
            failure_count(properties.headers, name)]
  if tries.last[1] < ATTEMPTS
    channel.reject(delivery.delivery_tag, false)
  else
    error_exchange.publish(payload, routing_key: name, persistent: true,
                                    headers: properties.headers)
    channel.ack(delivery.delivery_tag)
  end
end
_delivery, properties, payload = await('nothing has failed for good') do
  found = failed.pop
  found if found[0]
end
consumer.cancel
done 'retry'

check(tries.map(&:last) == [0, 1, 2, 3], "the broker counts #{tries.map(&:last)}")
gaps = tries.map(&:first).each_cons(2).map { |before, after| after - before }
check(gaps.all? { |gap| gap >= WAIT_MS / 1000.0 - 0.002 }, "tried again after #{gaps}")
done 'x-death'

check(payload == '{"job":1}' && properties.headers['mine'] == 7, 'what was published')
deaths = properties.headers['x-death']
check(deaths.map { |death| [death['queue'], death['reason'], death['count']] } ==
      [["#{name}-retry", 'expired', ATTEMPTS], [name, 'rejected', ATTEMPTS]], deaths.inspect)
check(deaths.all? { |death| death['time'].is_a?(Time) && death['routing-keys'] == [name] },
      deaths.inspect)
done 'deaths'

[worker, waiting, failed].each(&:delete)
connection.close
done 'close'
