// Prints where Kafka's Java client puts the keys of README.md.

import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.AppInfoParser;

public class Java {
    static final String LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static long state = 1;

    static int next() {
        state = state * 6364136223846793005L + 1442695040888963407L;
        return (int) (state >>> 56);
    }

    public static void main(String[] args) {
        List<byte[]> keys = new ArrayList<>();
        for (int i = 0; i < 10_000; i++) {
            byte[] key = new byte[next() % 40];
            for (int j = 0; j < key.length; j++) key[j] = (byte) next();
            keys.add(key);
        }
        System.out.println("Apache Kafka " + AppInfoParser.getVersion());
        System.out.println("\ndefault");
        try {
            BuiltInPartitioner.partitionForKey(null, 64);
            throw new AssertionError("a null key has a partition");
        } catch (NullPointerException e) {
            // The producer does not call this function without a key: the record goes to the sticky partition.
            System.out.println("null: any");
        }
        System.out.println("empty: fixed");
        StringBuilder sample = new StringBuilder();
        for (byte[] key : keys.subList(0, 100)) {
            sample.append(LETTERS.charAt(BuiltInPartitioner.partitionForKey(key, 64)));
        }
        System.out.println("sample: " + sample);
        for (int partitions : new int[] {1, 3, 12, 64, 1000, 2147483647}) {
            long digest = 0xcbf29ce484222325L;
            for (byte[] key : keys) {
                digest = (digest ^ BuiltInPartitioner.partitionForKey(key, partitions)) * 0x100000001b3L;
            }
            System.out.printf("%d: %016x%n", partitions, digest);
        }
    }
}
