import org.apache.kafka.clients.consumer.KafkaConsumer;

/** What a program that polls for ever needs to end well: SIGTERM wakes its poll up and waits until main is over. */
final class Ending {
    static void of(KafkaConsumer<?, ?> consumer) {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException hurried) {
                Thread.currentThread().interrupt();
            }
        }));
    }
}
