import java.util.Properties;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/** {@code SendSync BOOTSTRAP VALUE...}: waits for each record until the broker has it, and says where it lies. */
public final class SendSync {
    public static void main(String[] arguments) throws ExecutionException, InterruptedException {
        Properties props = new Properties();
        props.put("bootstrap.servers", arguments[0]);
        props.put("key.serializer", StringSerializer.class.getName());
        props.put("value.serializer", StringSerializer.class.getName());

        try (Producer<String, String> producer = new KafkaProducer<>(props)) {
            for (int i = 1; i < arguments.length; i++) {
                ProducerRecord<String, String> record = new ProducerRecord<>("basic01", "key", arguments[i]);
                RecordMetadata metadata = producer.send(record).get();
                System.out.printf("%s, %d, %d%n", metadata.topic(), metadata.partition(), metadata.offset());
            }
        }
    }
}
