import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.config.ConfigDef;

/** Prints every configuration key of this Kafka: broker or topic, name, type, default, validator, mode, internal. */
public class KafkaKeys {
    public static void main(String[] arguments) throws Exception {
        Map<String, String> modes = dynamicUpdateModes();
        print("broker", brokerKeys(), modes);
        Class<?> logConfig = Class.forName("org.apache.kafka.storage.internals.log.LogConfig");
        print("topic", keysOf(logConfig.getMethod("configKeys").invoke(null)), Map.of());
    }

    private static Map<String, ConfigDef.ConfigKey> brokerKeys() throws Exception {
        Class<?> config = Class.forName("kafka.server.KafkaConfig");
        return ((ConfigDef) config.getMethod("configDef").invoke(null)).configKeys();
    }

    @SuppressWarnings("unchecked")
    private static Map<String, ConfigDef.ConfigKey> keysOf(Object keys) {
        return (Map<String, ConfigDef.ConfigKey>) keys;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, String> dynamicUpdateModes() throws Exception {
        String[] names = {"org.apache.kafka.server.config.DynamicBrokerConfig", "kafka.server.DynamicBrokerConfig$"};
        for (String name : names) {
            Class<?> type;
            try {
                type = Class.forName(name);
            } catch (ClassNotFoundException absent) {  // 3.9 has only the second, 4.3 keeps the method in the first
                continue;
            }
            for (Method method : type.getMethods()) {
                if (method.getName().equals("dynamicConfigUpdateModes")) {
                    boolean isStatic = Modifier.isStatic(method.getModifiers());
                    return (Map<String, String>) method.invoke(isStatic ? null : type.getField("MODULE$").get(null));
                }
            }
        }
        throw new IllegalStateException("DynamicBrokerConfig has no dynamicConfigUpdateModes");
    }

    private static void print(String kind, Map<String, ConfigDef.ConfigKey> keys, Map<String, String> modes) {
        for (ConfigDef.ConfigKey key : new TreeMap<>(keys).values()) {
            String value = key.defaultValue == null || key.defaultValue == ConfigDef.NO_DEFAULT_VALUE
                ? "-" : ConfigDef.convertToString(key.defaultValue, key.type);
            String mode = modes.getOrDefault(key.name, "read-only");
            System.out.println(String.join("\t", kind, key.name, key.type.toString(), value, mode,
                String.valueOf(key.internalConfig), String.valueOf(key.validator).replace('\n', ' ')));
        }
    }
}
