<?php
// SPDX-License-Identifier: Apache-2.0
// The story of README.md with php-amqplib.
declare(strict_types=1);

require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPSSLConnection;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

$name = 'interop-php-' . getmypid();

function connect(array $argv): AMQPStreamConnection
{
    $url = parse_url($argv[1]);
    $vhost = urldecode(substr($url['path'], 1));
    if (isset($argv[2])) {
        return new AMQPSSLConnection($url['host'], $url['port'], $url['user'], $url['pass'], $vhost,
            ['cafile' => $argv[2], 'verify_peer' => true, 'peer_name' => 'localhost']);
    }
    return new AMQPStreamConnection($url['host'], $url['port'], $url['user'], $url['pass'], $vhost);
}

function done(string $step): void
{
    echo "ok $step\n";
}

function check(bool $condition, string $what): void
{
    if (!$condition) {
        fwrite(STDERR, "failed: $what\n");
        exit(1);
    }
}

$connection = connect($argv);
$channel = $connection->channel();
done('connect');

$channel->exchange_declare($name, 'topic', false, false, true);
$channel->queue_declare($name, false, true, false, false, false,
    new AMQPTable(['x-message-ttl' => 600000, 'x-note' => 'php']));
$channel->queue_bind($name, $name, 'order.*.placed');
done('declare');

$confirmed = 0;
$channel->confirm_select();
$channel->set_ack_handler(function () use (&$confirmed) { $confirmed++; });
for ($number = 0; $number < 10; $number++) {
    $message = new AMQPMessage((string) $number, [
        'delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT,
        'application_headers' => new AMQPTable(['n' => $number, 'deep' => ['a' => [1, 'two', null]]]),
    ]);
    $channel->basic_publish($message, $name, 'order.eu.placed');
}
done('publish');
$channel->wait_for_pending_acks(5);
check($confirmed === 10, "confirmed $confirmed");
done('confirm');

$returned = null;
$channel->set_return_listener(function ($code, $text, $exchange, $key, $message) use (&$returned) {
    $returned = [$code, $message->getBody()];
});
$channel->basic_publish(new AMQPMessage('lost'), $name, 'nowhere', true);
$channel->wait_for_pending_acks_returns(5);
check($returned === [312, 'lost'], 'return');
done('return');

$seen = [];
$channel->basic_qos(0, 3, false);
$channel->basic_consume($name, 'interop', false, false, false, false,
    function (AMQPMessage $message) use (&$seen) {
        if ($message->getBody() === '4' && !$message->isRedelivered()) {
            $message->nack(true);
            return;
        }
        $message->ack();
        $seen[] = (int) $message->getBody();
    });
while (count($seen) < 10) {
    $channel->wait(null, false, 5);
}
sort($seen);
check($seen === range(0, 9), 'consume');
done('consume');
done('ack');
done('nack');
$channel->basic_cancel('interop');
[, , $consumers] = $channel->queue_declare($name, true);
check($consumers === 0, 'cancel');
done('cancel');

try {
    $connection->channel()->queue_declare('interop-missing', true);
    check(false, 'a missing queue was found');
} catch (AMQPProtocolChannelException $exception) {
    check($exception->amqp_reply_code === 404, 'missing queue');
}

// A held message comes back; reconnect() drops the old socket and logs in again.
$channel->basic_publish(new AMQPMessage('survivor'), '', $name);
$channel->wait_for_pending_acks(5);
check($channel->basic_get($name) !== null, 'get');
$connection->reconnect();
$channel = $connection->channel();
do {
    $message = $channel->basic_get($name, true);
} while ($message === null);
check($message->getBody() === 'survivor' && $message->isRedelivered(), 'redelivery');
done('reconnect');

// A job that fails is rejected into a queue in which it waits; how often it has failed stands in
// x-death.
$channel->queue_delete($name);
$channel->queue_declare("$name-wait", false, true, false, false, false,
    new AMQPTable(['x-message-ttl' => 50, 'x-dead-letter-exchange' => '',
                   'x-dead-letter-routing-key' => $name]));
$channel->queue_declare($name, false, true, false, false, false,
    new AMQPTable(['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => "$name-wait"]));
$channel->basic_publish(new AMQPMessage('job', ['application_headers' => new AMQPTable(['mine' => 7])]),
    '', $name);
$counts = [];
$channel->basic_consume($name, 'worker', false, false, false, false,
    function (AMQPMessage $message) use (&$counts, $name) {
        $headers = $message->get('application_headers')->getNativeData();
        check($headers['mine'] === 7, 'own header');
        $failures = 0;
        foreach ($headers['x-death'] ?? [] as $death) {
            if ($death['queue'] === $name && $death['reason'] === 'rejected') {
                $failures += $death['count'];
            }
        }
        $counts[] = $failures;
        if ($failures < 3) {
            $message->reject(false);
        } else {
            $message->ack();
        }
    });
while (count($counts) < 4) {
    $channel->wait(null, false, 5);
}
check($counts === [0, 1, 2, 3], 'x-death counts ' . implode(',', $counts));
done('x-death');

$channel->queue_delete($name);
$channel->queue_delete("$name-wait");
$connection->close();
