import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * {@code AutoCommit BOOTSTRAP GROUP [option=value...]}: prints what it reads until it is ended; the client commits in
 * the background, while it polls, and when it is closed.
 */
public final class AutoCommit {
    public static void main(String[] arguments) {
        Properties props = new Properties();
        props.put("bootstrap.servers", arguments[0]);
        props.put("group.id", arguments[1]);
        props.put("enable.auto.commit", "true");
        props.put("key.deserializer", StringDeserializer.class.getName());
        props.put("value.deserializer", StringDeserializer.class.getName());
        for (String option : Arrays.copyOfRange(arguments, 2, arguments.length))
            props.put(option.split("=", 2)[0], option.split("=", 2)[1]);

        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(props);
        Ending.of(consumer);
        consumer.subscribe(Arrays.asList("basic01"));

        try {
            while (true) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(1000));
                for (ConsumerRecord<String, String> record : records) {
                    System.out.printf("%s, %s, %d, %s, %s%n",
                        record.topic(), record.partition(), record.offset(), record.key(), record.value());
                }
            }
        } catch (WakeupException ended) {
            // SIGTERM: the loop is left.
        } catch (Exception e) {
            e.printStackTrace();
        } finally {
            consumer.close();
        }
    }
}
