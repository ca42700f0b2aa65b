import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** {@code SendAsync BOOTSTRAP VALUE...}: sends records without waiting; a callback says what became of each. */
public final class SendAsync {
    public static void main(String[] arguments) {
        Properties props = new Properties();
        props.put("bootstrap.servers", arguments[0]);
        props.put("key.serializer", StringSerializer.class.getName());
        props.put("value.serializer", StringSerializer.class.getName());

        try (Producer<String, String> producer = new KafkaProducer<>(props)) {
            for (int i = 1; i < arguments.length; i++) {
                ProducerRecord<String, String> record = new ProducerRecord<>("basic01", "key", arguments[i]);
                producer.send(record, new ProducerCallback(record));
            }
        }
    }
}
