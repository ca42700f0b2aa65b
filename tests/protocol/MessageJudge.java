import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Reads messages with Kafka's own classes. A line of standard input is a class, a version and the bytes in hex;
 * its answer is the number of bytes left over, the bytes that Kafka writes for what it read, and that as JSON.
 */
public final class MessageJudge {
    public static void main(String[] args) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        StringBuilder answers = new StringBuilder();
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ", -1);
            answers.append(judge(words[0], Short.parseShort(words[1]), HexFormat.of().parseHex(words[2])));
            answers.append('\n');
        }
        System.out.write(answers.toString().getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }

    private static String judge(String name, short version, byte[] data) throws Exception {
        Class<?> messageClass = Class.forName(name);
        ByteBufferAccessor reader = new ByteBufferAccessor(ByteBuffer.wrap(data));
        Message message = (Message) messageClass.getConstructor().newInstance();
        message.read(reader, version);

        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBufferAccessor writer = new ByteBufferAccessor(ByteBuffer.allocate(message.size(cache, version)));
        message.write(writer, cache, version);

        Method toJson = Class.forName(name + "JsonConverter").getMethod(
            "write", messageClass, short.class, boolean.class);
        JsonNode json = (JsonNode) toJson.invoke(null, message, version, false);
        return reader.remaining() + " " + HexFormat.of().formatHex(writer.buffer().array()) + " " + json;
    }
}
