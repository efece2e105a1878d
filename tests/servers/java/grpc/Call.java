import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/** Calls a service by grpc-java, with no proxy: see tests/servers/grpc-java. */
public class Call {
    /** Sends and takes bytes as they are. */
    private static final MethodDescriptor.Marshaller<byte[]> RAW = new MethodDescriptor.Marshaller<>() {
        public InputStream stream(byte[] bytes) {
            return new ByteArrayInputStream(bytes);
        }

        public byte[] parse(InputStream bytes) {
            try {
                return bytes.readAllBytes();
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    };

    private static final MethodDescriptor<byte[], byte[]> ASK =
            MethodDescriptor.<byte[], byte[]>newBuilder(RAW, RAW)
                    .setType(MethodDescriptor.MethodType.UNARY)
                    .setFullMethodName("shop.Orders/Ask")
                    .build();

    public static void main(String[] words) throws IOException {
        String target = words[0].substring("target=".length());
        Channel channel = Grpc.newChannelBuilder(target, InsecureChannelCredentials.create()).build();
        System.out.println("READY");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] parts = line.trim().split(" +");
            Metadata metadata = new Metadata();
            for (int place = 1; place < parts.length; place++) {
                String[] pair = parts[place].split("=", 2);
                metadata.put(Metadata.Key.of(pair[0], Metadata.ASCII_STRING_MARSHALLER), pair[1]);
            }
            Channel with = ClientInterceptors.intercept(channel, MetadataUtils.newAttachHeadersInterceptor(metadata));
            Map<String, Integer> answers = new TreeMap<>();
            for (int left = Integer.parseInt(parts[0]); left > 0; left--) {
                answers.merge(ask(with), 1, Integer::sum);
            }
            String all = answers.entrySet().stream()
                    .map(entry -> "\"" + entry.getKey() + "\": " + entry.getValue())
                    .collect(Collectors.joining(", "));
            System.out.println("ANSWER {" + all + "}");
        }
        System.exit(0);
    }

    private static String ask(Channel channel) {
        CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(10, TimeUnit.SECONDS);
        try {
            byte[] answer = ClientCalls.blockingUnaryCall(channel, ASK, options, new byte[0]);
            return "OK " + new String(answer, StandardCharsets.UTF_8);
        } catch (StatusRuntimeException error) {
            System.err.println(error.getStatus());
            return "CODE " + error.getStatus().getCode().value();
        }
    }
}
