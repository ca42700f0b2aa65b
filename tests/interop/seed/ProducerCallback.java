import org.apache.kafka.clients.producer.Callback;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;

/** Says where its record lies, or why it does not. */
final class ProducerCallback implements Callback {
    private final ProducerRecord<String, String> record;

    ProducerCallback(ProducerRecord<String, String> record) {
        this.record = record;
    }

    @Override
    public void onCompletion(RecordMetadata metadata, Exception e) {
        if (e != null)
            System.out.printf("%s: %s%n", record.value(), e.getClass().getSimpleName());
        else
            System.out.printf("%s: %s, %d, %d%n",
                record.value(), metadata.topic(), metadata.partition(), metadata.offset());
    }
}
