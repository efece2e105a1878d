package shop;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;

/**
 * A Dubbo consumer of {@link Orders}: each line that it reads is an order. It prints {@code ANSWER <answer>} or
 * {@code FAILED <why>}, and ends with its input: with 1, if any call has failed.
 */
public final class Consumer {
    private static final int CALL_MILLIS = 3_000;

    private final Settings settings;
    private final String address;
    private final RegistryConfig registry;
    private final String tag;
    private ReferenceConfig<Orders> reference;

    private Consumer(Settings settings) {
        this.settings = settings;
        String protocol = settings.get("protocol", "dubbo");
        address = protocol + "://" + settings.get("host", "127.0.0.1") + ":" + settings.get("port", "20880");
        String registryAddress = settings.get("registry", "");
        registry = registryAddress.isEmpty() ? null : new RegistryConfig(registryAddress);
        tag = settings.get("tag", "");
    }

    public static void main(String[] words) throws Exception {
        Settings settings = new Settings(words);
        System.setProperty("DUBBO_IP_TO_REGISTRY", settings.get("announce", "192.0.2.10"));
        ApplicationConfig application = new ApplicationConfig(settings.get("application", "customer"));
        application.setQosEnable(false);
        Consumer consumer = new Consumer(settings);
        consumer.refer();
        settings.end();
        DubboBootstrap.getInstance().application(application).start();
        consumer.reference.get();
        System.out.println("READY");
        System.exit(consumer.callAll() ? 0 : 1);
    }

    private boolean callAll() throws java.io.IOException {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        boolean good = true;
        for (String order = input.readLine(); order != null; order = input.readLine()) {
            // It is for the next call alone.
            if (!tag.isEmpty()) RpcContext.getContext().setAttachment("dubbo.tag", tag);
            try {
                System.out.println("ANSWER " + reference.get().place(order));
            } catch (RuntimeException | AssertionError error) {
                System.out.println("FAILED " + error.toString().replace('\n', ' '));
                good = false;
                // By itself Dubbo may leave a provider out for a minute that was away for a moment. The next reference may find the
                // connection of this one while that is closed, which is an AssertionError.
                reference.destroy();
                refer();
            }
        }
        return good;
    }

    private void refer() {
        reference = new ReferenceConfig<>();
        reference.setInterface(Orders.class);
        reference.setGroup(settings.get("group", null));
        reference.setVersion(settings.get("version", null));
        reference.setTimeout(CALL_MILLIS);
        reference.setRetries(0);
        reference.setCheck(false);
        if (registry == null) {
            reference.setUrl(address);
        } else {
            reference.setRegistry(registry);
        }
    }
}
